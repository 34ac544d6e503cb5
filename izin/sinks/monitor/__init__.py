"""Monitoring: metrics, deadlines, subscriptions, anchors."""
