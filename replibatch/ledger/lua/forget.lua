-- Forgets generations that have their result, so that the same id may be made again. call: ids
-- Returns how many that were; those on their way are left alone.

local forgotten = 0
for _, id in ipairs(call.ids) do
  if redis.call('HEXISTS', record_key(id), 'result') == 1 then
    redis.call('DEL', record_key(id), key('done', id))
    forgotten = forgotten + 1
  end
end
return forgotten
