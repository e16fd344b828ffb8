"""Watching what runs: counts without text of what an adapter is asked and answers, compared with its evaluation."""
