-- The reply to a create names a prediction: it belongs to this attempt from now on.
-- call: id, process, fence, attempt_key, prediction, keep_ms
-- Returns 'ok'; 'twin' where another attempt has claimed it; 'fenced' where the caller has lost custody.

local claim = key('prediction', call.prediction)
redis.call('SET', claim, call.attempt_key, 'NX', 'PX', whole(call.keep_ms))
if redis.call('GET', claim) ~= call.attempt_key then return 'twin' end
local record = read(call.id)
if not has(record) then return 'fenced' end
redis.call('HSET', record_key(call.id), 'prediction', call.prediction, 'created', whole(now))
return 'ok'
