# Reads one HOCON document per line, written as a JSON string, and answers each with its JSON.
# Debian's ruby-hocon knows nothing of this project: what both it and pyhocon read is there.
require 'hocon'
require 'json'

$stdin.set_encoding('UTF-8')
$stdout.set_encoding('UTF-8')
$stdout.sync = true
$stdin.each_line do |line|
  puts JSON.generate(Hocon.parse(JSON.parse(line, quirks_mode: true)))
end
