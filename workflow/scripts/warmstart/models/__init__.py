"""Kinds of recognisers, a folder each."""
