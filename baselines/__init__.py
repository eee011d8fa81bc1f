"""Policies that PARA is compared with; they share its backbones, data and trainer."""
