"""Ray itself: its session, work on a pool, and Ray Train.

Ray reads its environment at import, and `session` sets that environment first. So modules import Ray in functions.
"""
