-- A process that ends leaves what it answers for to the others. call: process. Returns how many.

local mine = redis.call('SMEMBERS', custody_key(call.process))
for _, id in ipairs(mine) do
  add_to_custody(id, '')
  redis.call('HSET', record_key(id), 'process', '')
end
redis.call('DEL', custody_key(call.process))
redis.call('SREM', key('holders'), call.process)
return #mine
