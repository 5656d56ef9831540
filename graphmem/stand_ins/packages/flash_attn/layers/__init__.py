"""Stands in for flash_attn.layers."""
