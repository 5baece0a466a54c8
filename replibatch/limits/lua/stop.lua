-- Stops the account: whoever waits is sent away. call: why
-- Returns ms until asking again is of use, or -1.

set('stopped', call.why)
return pump()
