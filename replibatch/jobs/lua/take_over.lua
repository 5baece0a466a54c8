-- Takes over what a dead process (or '' for those that left in order) answered for, up to call.most generations.
-- call: dead, process, most
-- Returns records as flat lists, each with its id in front.

local taken = {}
for _, id in ipairs(redis.call('SRANDMEMBER', custody_key(call.dead), call.most)) do
  local record = read(id)
  if not record or record.process ~= call.dead then
    redis.call('SREM', custody_key(call.dead), id)
  elseif not is_of_later_version(record) then
    put_in_custody(id, record, call.process, record.state)
    redis.call('HINCRBY', record_key(id), 'fence', 1)
    local flat = flat_record(id)
    table.insert(flat, 1, id)
    taken[#taken + 1] = flat
  end
end
if redis.call('SCARD', custody_key(call.dead)) == 0 then redis.call('SREM', key('holders'), call.dead) end
if #taken > 0 then count({ taken_over = #taken }) end
return taken
