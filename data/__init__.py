"""The data sets. Each is made, and shown, by `python -m data.NAME`."""
import logging

# Before any import of matplotlib, which talks where it finds no HOME that it may write into.
logging.getLogger('matplotlib').setLevel(logging.ERROR)
