"""Campaigns that look for what the tests do not: `make soak`. Their tables are in
docs/reliability.md.
"""
