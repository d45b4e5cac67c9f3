"""SynFundus: from fundus photographs that may not be shared to an annotated, evaluated synthetic dataset that may.

Research use only; not a medical device.
"""

__version__ = "0.1.0"
