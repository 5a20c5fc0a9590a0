"""Rules about models that several processes train."""
