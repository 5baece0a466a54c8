-- Forgets generations that have their result, so that the same id may be made again. call: ids
-- Returns how many that were; those on their way are left alone.

local forgotten = 0
for _, id in ipairs(call.ids) do
  local record = read(id)
  if record and record.result then
    clear_settled(id, record)
    forgotten = forgotten + 1
  end
end
return forgotten
