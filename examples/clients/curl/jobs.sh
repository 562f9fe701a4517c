# curl/jobs.sh: prints every change of a job as a line of JSON, for ever, in bash and in zsh. Nothing is missed.
url=${URL:-http://127.0.0.1:4000/graphql}
changes='subscription { jobUpdated { job { id version title status } } }'

# Where the stream stands now. Read your list after this, not before.
now() { curl -sf "$url" -H 'content-type: application/json' -d '{"query": "{ streamCursor }"}' | cut -d '"' -f 6; }
# The stream from a cursor on. It ends when nothing has come for 45 seconds, heartbeats included.
from() {
  curl -sN "$url" -H 'accept: text/event-stream' -H "last-event-id: $1" -H 'content-type: application/json' \
    --speed-limit 1 --speed-time 45 -d "{\"query\": \"$changes\"}"
}

after=
while true; do
  [ -n "$after" ] || after=$(now)
  [ -n "$after" ] || { sleep 1; continue; }
  seen=$after
  while IFS= read -r line; do
    case $line in
      'id: '*) seen=${line#id: } ;;
      *'"code":"CURSOR_EXPIRED"'*) seen= after= ;;   # no longer kept: read your list anew
      'data: '*) printf '%s\n' "${line#data: }" ;;
      '') after=$seen ;;                             # the event is whole
    esac
  done < <(from "$after")
  sleep 1
done
