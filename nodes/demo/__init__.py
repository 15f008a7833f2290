"""Demos of several processes on one machine."""
