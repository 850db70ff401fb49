"""What the owner wants: the frozen model, and the reading of it from TOML with positions.

Imports nothing but ``errors``; knows no stream and no socket.
"""
