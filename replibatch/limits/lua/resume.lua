-- Lifts a stop: the operator has mended the token or the credit, so what was learned of the account holds no more.
-- call: nothing
-- Returns ms until asking again is of use, or -1.

if state.stopped then
  set('stopped', nil)
  set('cooldown_until', nil)
  forget_what_was_learned()
end
return pump()
