"""One module a screen: its routes (``SCREENS``), read by ``izin.web.app``."""
