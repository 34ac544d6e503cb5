"""The main job, end to end, on real servers: what ``izin demo`` runs and then checks key by key."""
