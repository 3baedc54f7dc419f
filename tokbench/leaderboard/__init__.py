"""The leaderboard: submissions read, ranked with intervals, and written as tables and a static site."""
