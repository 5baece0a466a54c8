-- Lifts a stop: the operator has mended the token or the credit, so what was learned of the account holds no more.
-- call: only (lift no stop but one of this kind; '' for any)
-- Returns ms until asking again is of use, or -1.

if state.stopped and (call.only == '' or state.stopped == call.only) then
  set('stopped', nil)
  set('stop_message', nil)
  set('cooldown_until', nil)
  forget_what_was_learned()
end
return pump()
