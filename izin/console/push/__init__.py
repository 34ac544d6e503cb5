"""``izin iys push``: where İYS pushes the movements of brands, and our receiver among them."""
