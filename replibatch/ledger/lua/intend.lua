-- A create is about to be sent: what it will be recognised by is in the record before it is.
-- call: id, process, fence, sent (the fingerprint of its inputs)
-- Returns 1; 0 where the caller has lost custody, and must send nothing.

if not has(read(call.id)) then return 0 end
redis.call('HSET', record_key(call.id), 'sent', call.sent)
return 1
