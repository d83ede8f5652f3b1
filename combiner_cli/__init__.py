"""Compression of images and sound with Bayesian implicit neural representations.

The public functions are ``codec.encode`` and ``codec.decode``; this module imports nothing, so that the command line
starts fast.
"""

__version__ = "0.7.0"
