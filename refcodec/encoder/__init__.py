"""The encoder (informative): a model to a stream.  The format leaves every decision made here free."""
