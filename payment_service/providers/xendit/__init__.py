"""The payment provider Xendit."""
