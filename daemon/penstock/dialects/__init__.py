"""The languages of clients and backends: bytes to events and back, both roles, without any input or output.

``base`` says what a dialect is; ``registry`` lists them.
"""
