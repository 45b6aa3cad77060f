"""The kit examines plugins; here plugins that break one promise each examine the kit."""
