"""penstock: a proxy for language-model streams that owns each stream from its first byte to its last."""

__version__ = "0.1.0"
