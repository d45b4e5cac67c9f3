"""The procedural renderer of fundus photographs."""
