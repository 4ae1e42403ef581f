"""Policies: may it?"""
