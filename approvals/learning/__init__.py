"""What decisions teach: labels, calibration, autonomy that is earned and lost, how reviewers review."""
