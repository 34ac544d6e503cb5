"""What is watched: metrics, deadlines, subscriptions, anchors."""
