"""Stands in for flash_attn.losses."""
