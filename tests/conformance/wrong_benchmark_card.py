"""A benchmark whose card is not complete.

Source: made up here.
Scenario: CIL.
Data: in memory.
Deviations: none.
"""
