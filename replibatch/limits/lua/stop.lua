-- Stops the account and sends its waiters away. An earlier stop stays the reason: a later one does not end it.
-- call: kind (the error's name), message
-- Returns ms until asking again is of use, or -1.

if not state.stopped then
  set('stopped', call.kind)
  set('stop_message', call.message)
end
return pump()
