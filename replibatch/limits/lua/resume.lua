-- Lifts a stop: the operator has mended the token or the credit, so what was learned of the account holds no more.
-- call: only (lift no stop but one that began for this reason, the name before its colon; '' for any)
-- Returns ms until asking again is of use, or -1.

if state.stopped and (call.only == '' or string.match(state.stopped, '^[^:]*') == call.only) then
  set('stopped', nil)
  set('cooldown_until', nil)
  forget_what_was_learned()
end
return pump()
