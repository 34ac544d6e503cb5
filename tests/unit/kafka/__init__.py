"""Tests of izin.kafka."""
