-- Calls of applications' own tasks, unpublished since the settle; the caller publishes them now.
-- call: grace_ms (how long publishing may take), most
-- Returns the calls.

local owed = redis.call('ZRANGEBYSCORE', key('calls'), '-inf', whole(now - call.grace_ms), 'LIMIT', 0, call.most)
for _, each in ipairs(owed) do redis.call('ZADD', key('calls'), whole(now), each) end
return owed
