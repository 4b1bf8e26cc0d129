"""The Pricing Advisor: from stored evidence to a recommendation, by arithmetic alone.

Nothing here reads a clock, a database or a setting: the same evidence and policy give the same recommendation, byte for
byte, today and in a year.
"""
