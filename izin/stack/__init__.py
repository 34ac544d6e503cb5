"""The local stack of ``izin up``, and the main job on it, end to end: what ``izin demo`` runs and
then checks key by key.
"""
