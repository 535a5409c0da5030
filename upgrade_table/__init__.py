"""What becomes of resumption in an upgrade of EMQX or Erlang/OTP: measured, and written down."""
