"""Puts this folder on the path: what tests in several folders use lies beside this file."""
