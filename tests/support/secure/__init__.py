"""What tests of encrypted connections share: certificates, servers that want them, tokens."""
