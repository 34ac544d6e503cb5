"""The main job, end to end, on real parts: what ``izin demo`` plays and then checks key by key."""
