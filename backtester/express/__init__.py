"""The express lane: plain orders from their sending to their reports, in compiled code."""
