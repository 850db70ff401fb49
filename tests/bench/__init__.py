"""The benchmark harness: what penstock costs beside a relay that does nothing, measured in one run.

``python -m tests.bench`` from the root of the checkout; docs/performance.md says what the figures mean.
"""
