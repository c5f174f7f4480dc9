/* The protocol of a twinwatch pair, for spin.

   Every process that ever lives is one of N identities; what it is about to do is its `pc`. Each option
   of proctype Process is one step: what happens between two points at which the process can be killed
   or stopped with a different result. SIGKILL, SIGSTOP and SIGCONT are options like any other one.
   A comment names the function of the code that a step stands for, and the race that a guard is for.

   Death is one step, and everybody can see it: a readable pidfd. An identity is used again at once:
   nothing refers to the dead one any more, which is what identities are compared for in the code.

   README.md says what is not modelled. Bounds and mutants are -D switches. */

/* ------------------------------------------------------------------ bounds */
#ifndef N
#define N 8        /* identities alive at once, 8 or 12; `pool_suffices` is asserted */
#endif
#ifndef WORKERS
#define WORKERS 1  /* worker slots, at most 2 */
#endif
#ifndef RES_A
#define RES_A 1    /* watch.reserve, of each side */
#endif
#ifndef RES_B
#define RES_B 1
#endif
#ifndef KILLS
#define KILLS 0    /* SIGKILLs to anybody, at any step */
#endif
#ifndef STOPS
#define STOPS 0    /* SIGSTOPs to anybody but a worker, with SIGCONT or without */
#endif
#ifndef FREEZES
#define FREEZES 0  /* as a stop, but SIGKILL has no effect until it thaws (D state, cgroup v1) */
#endif
#ifndef ANCHOR
#define ANCHOR 0   /* 1: an anchor, which its init starts again */
#endif
#ifndef DOWN
#define DOWN 0     /* 1: `twinwatch down` comes at some time; may be killed and stopped, too */
#endif
#ifndef LEAKS
#define LEAKS 0    /* 1: a child keeps the write ends of other gates that it inherits */
#endif
#ifndef EXECS
#define EXECS 0    /* watchers that execute themselves anew: their gates' ends close, they live */
#endif
#ifndef SLOW_DEATH
#define SLOW_DEATH 0 /* 1: a death's locks are free and its pipes have ended before its pidfd is readable */
#endif
#ifndef RUNNING
#define RUNNING 0  /* 1: begins with a whole pair; 0: with two watchers and nothing else */
#endif

/* ------------------------------------------------------------------ mutants: a guard taken out */
#ifndef NO_GATE
#define NO_GATE 0         /* a worker's program runs as soon as it is forked */
#endif
#ifndef OPEN_FIRST
#define OPEN_FIRST 0      /* the gate is opened before the record is written */
#endif
#ifndef NO_COMPARE
#define NO_COMPARE 0      /* R04: the slot's generation is not compared */
#endif
#ifndef NO_OWN
#define NO_OWN 0          /* R08: the claimer's own generation is not compared */
#endif
#ifndef KEEP_LOCK
#define KEEP_LOCK 0       /* R05: the lock belongs to the open file, which a forked child keeps */
#endif
#ifndef BLIND_TAKEOVER
#define BLIND_TAKEOVER 0  /* R04: a reserve takes over without a compare */
#endif
#ifndef NO_NAMES
#define NO_NAMES 0        /* R02: a reserve does not look whether a slot names it */
#endif
#ifndef CLAIM_ON_KILL
#define CLAIM_ON_KILL 0   /* R17: a role is claimable as soon as SIGKILL was sent */
#endif
#ifndef EOF_IS_DEATH
#define EOF_IS_DEATH 0    /* R10: a reserve waits for the end of its pipe, not for the pidfd */
#endif
#ifndef NO_DESIRED
#define NO_DESIRED 0      /* what is desired is not in the compare */
#endif
#ifndef NO_REREAD
#define NO_REREAD 0       /* R14: a child behind its gate does not read its slot again */
#endif
#ifndef NO_RESCUE
#define NO_RESCUE 0       /* R06: nobody ends a lock holder that stands still */
#endif
#ifndef NO_EVICT
#define NO_EVICT 0        /* R07: nobody ends a recorded child that stands still behind its gate */
#endif
#ifndef NO_VIGIL
#define NO_VIGIL 0        /* R13: a reserve waits for its parent's death only */
#endif
#ifndef NO_SEAT
#define NO_SEAT 0         /* a newborn watcher does not compare the slot with itself (Tenure.take) */
#endif

/* ------------------------------------------------------------------ what counts as broken */
#ifndef ONE_ACTS
#define ONE_ACTS 0        /* 1: P1 of a role is judged by what its holders do, not by who lives */
#endif
#ifndef ACK_ONLY
#define ACK_ONLY 0        /* 1: a program may start once more before `down` returns, if it has ended by then */
#endif
#ifndef STRICT_DOWN
#define STRICT_DOWN 0     /* 1: a pair that is to be down leaves although one of it is stopped for ever */
#endif
#ifndef SURVIVES
#define SURVIVES 0        /* 1: the kills and stops must leave somebody who can act */
#endif

/* ------------------------------------------------------------------ what the code could do without */
#ifndef SEAT_IF_NAMED
#define SEAT_IF_NAMED 1   /* a child that a role's slot names, and whose parent is dead, takes that seat */
#endif
#ifndef ORDER_FIRST
#define ORDER_FIRST 1     /* a child that sees its parent dead looks into its gate once more */
#endif

/* ------------------------------------------------------------------ names */
#define A 0
#define B 1
#define W 2                       /* first worker slot */
#define X (W+WORKERS)             /* the anchor's slot */
#define SLOTS (X+1)
#define DOWNER N                  /* the `down` command, as a holder of the lock */
#define NOBODY (N+1)              /* dead, never anything else */
#define LOST (N+2)                /* the lock of a dead process that its children keep (KEEP_LOCK) */

#define DEAD 0
/* a gated child */
#define GATED 1                   /* reserve._wait */
#define LOOKS 2                   /* reserve._become_worker, before its _is_wanted */
#define EXECUTES 3                /* launch.execute */
#define WORKS 4
#define NAMES 5                   /* reserve._take_over, before state.naming */
#define TAKES 6                   /* waits for the lock, to compare */
#define TAKES_RECORD 7
#define TAKES_UNLOCK 8
#define SEATS 9                   /* Watcher.__init__, before Tenure.take */
/* a watcher */
#define WATCHES 10                /* Watcher._round, nothing in hand */
#define CLAIMS 11                 /* birth.respawn, waits for the lock */
#define RECORDS 12
#define UNLOCKS 13
#define OPENS 14
/* the anchor */
#define BOOTS 15                  /* Third._claim, waits for the lock */
#define BOOTS_RECORD 16
#define BOOTS_UNLOCK 17
#define GUARDS 18                 /* Third._act, nothing in hand; CLAIMS to OPENS as a watcher */
/* down */
#define WRITES 20
#define ENDS_WORKERS 21
#define ENDS_WATCHERS 22
#define DYING 23                  /* SLOW_DEATH: does nothing more, its pidfd is not readable yet */

#define CLOSED 0                  /* what has come through a gate */
#define LEAVE 1
#define GO_WORKER 2
#define GO_ROLE 3

#define MOVES 0                   /* not stopped */
#define AWHILE 1
#define FOREVER 2
#define FROZEN 3

/* ------------------------------------------------------------------ state */
byte pc[N+2];
byte stp[N+2];
byte par[N+2];                    /* whose pidfd a gated child polls; NOBODY: it is readable */
byte role[N+2];                   /* a watcher's; a gated child's: its parent's */
byte gen[N+2];                    /* the same of its generation */
byte tgt[N+2];                    /* slot that it is about to give birth to; a child's: of its order */
byte seen[N+2];                   /* generation at which that slot was seen dead */
byte kid[N+2];                    /* child in hand, taken from the nursery */
short kids[N+2];                  /* mask: Nursery._ready and _leaving */
byte order[N+2];
bit late[N+2];                    /* its gate was opened after the stop was written */
bit doomed[N+2];                  /* was sent SIGKILL while frozen */
#if LEAKS
short ends[N+2];                  /* mask: who holds the write end of its gate */
#endif
#if EXECS
bit ended[N+2];                   /* the write end is closed, its parent lives */
byte execs;
#endif

byte slot_gen[SLOTS];
byte slot_pid[SLOTS];
bit wish_run = 1;                 /* Header.desired */
byte lk = NOBODY;                 /* holder of the state lock */
#if KEEP_LOCK
short keepers;                    /* mask: living children that share the lock of a dead holder */
#endif
byte kills, stops, freezes;
bit acked;                        /* `down` has said that it is done */

/* What is checked. Each is assigned and asserted, so that spin's message names it. */
bit P1_one_holder_of_a_role = 1;
bit P1_one_process_of_a_worker = 1;
bit P1_no_fenced_one_acts = 1;
bit P1_one_slot_a_process = 1;
bit P2_runs_only_what_is_recorded = 1;
bit P3_the_pair_is_whole_again = 1;
bit P3_somebody_is_left = 1;
bit P3_nobody_leaves_in_vain = 1;
bit P7_nobody_waits_for_a_lost_lock = 1;
bit P7_no_child_waits_for_nobody = 1;
bit P7_down_returns = 1;
bit P8_nothing_starts_after_down = 1;
bit P8_nothing_lives_after_down = 1;
bit P8_no_program_starts_late = 1;
bit P8_a_pair_told_to_be_down_leaves = 1;
bit pool_suffices = 1;

hidden byte i, j, k, c;           /* scratch, within one step */
#define me _pid                   /* whose step it is */

#define must(promise, truth) promise = (truth); assert(promise)

#define lives(p) (pc[p] != DEAD)
#define at(step) (pc[me] == step && stp[me] == MOVES)
#define is_watcher(p) (pc[p] >= WATCHES && pc[p] <= OPENS && role[p] != X)
#define is_anchor(p) (pc[p] >= BOOTS && pc[p] <= GUARDS || \
    pc[p] >= CLAIMS && pc[p] <= OPENS && role[p] == X)
#define is_starting(p) (lives(p) && pc[p] != WORKS)   /* Phase.STARTING, of a worker's slot */
/* Its heartbeat does not move (or its program does not come), and nothing but a signal changes that. */
#define stands_still(p) (stp[p] != MOVES || \
    (pc[p] == GATED && order[p] == CLOSED && (par[p] == NOBODY || stp[par[p]] != MOVES)))
#define beats(p) (lives(p) && !stands_still(p))
#define is_hung(p) (lives(p) && stands_still(p) && !doomed[p])
#define is_endable(p) (lives(p) && !doomed[p])
#define is_dead(t) (slot_pid[t] == NOBODY || (CLAIM_ON_KILL && doomed[slot_pid[t]]))  /* R17 */
#define is_free_lock (lk == NOBODY)
/* R06: StateLock._wait, _end_holder */
#define is_stuck_lock (lk < NOBODY && stp[lk] != MOVES && !doomed[lk] && !NO_RESCUE)
#if LEAKS
#define is_ended(p) (ends[p] == 0)
#elif EXECS
#define is_ended(p) (ended[p] || par[p] == NOBODY)
#else
#define is_ended(p) (par[p] == NOBODY || pc[par[p]] == DYING)
#endif
#if EOF_IS_DEATH
#define is_parent_dead(p) (is_ended(p) && order[p] == CLOSED)
#else
#define is_parent_dead(p) (par[p] == NOBODY)                                          /* R10 */
#endif

/* ------------------------------------------------------------------ life and death */

inline blank(p) {
  pc[p] = DEAD; stp[p] = MOVES; par[p] = NOBODY; role[p] = 0; gen[p] = 0; tgt[p] = 0; seen[p] = 0;
  kid[p] = NOBODY; kids[p] = 0; order[p] = CLOSED; late[p] = 0; doomed[p] = 0;
#if LEAKS
  ends[p] = 0;
#endif
#if EXECS
  ended[p] = 0;
#endif
}

inline release_lock(p) {          /* by the kernel: R05 */
#if KEEP_LOCK
  keepers = keepers & ~(1 << p);
  if
  :: lk == p -> lk = LOST;
     j = 0;
     do
     :: j < N -> if :: lives(j) && par[j] == p -> keepers = keepers | (1 << j) :: else fi; j++
     :: else -> break
     od
  :: else
  fi;
  if :: lk == LOST && keepers == 0 -> lk = NOBODY :: else fi
#else
  if :: lk == p -> lk = NOBODY :: else fi
#endif
}

/* Its pidfd is readable: for everybody at once. */
inline vanish(p) {
  k = p;
  pc[k] = DEAD;
  release_lock(k);
  j = 0;
  do
  :: j < N ->
     if :: par[j] == k -> par[j] = NOBODY :: else fi;
     if :: kid[j] == k -> kid[j] = NOBODY :: else fi;
     kids[j] = kids[j] & ~(1 << k);
#if LEAKS
     ends[j] = ends[j] & ~(1 << k);
#endif
     j++
  :: else -> break
  od;
  j = 0;
  do
  :: j < SLOTS -> if :: slot_pid[j] == k -> slot_pid[j] = NOBODY :: else fi; j++
  :: else -> break
  od;
  blank(k)
}

#if SLOW_DEATH
inline die(p) {
  k = p;
  if
  :: k < N -> pc[k] = DYING; stp[k] = MOVES; doomed[k] = 1; release_lock(k)
  :: else -> vanish(p)
  fi
}
#else
inline die(p) { vanish(p) }
#endif

inline send_kill(p) {             /* process.send(pidfd, SIGKILL) */
  if
  :: stp[p] == FROZEN -> doomed[p] = 1
  :: else -> die(p)
  fi
}

inline leave(p) { die(p) }        /* os._exit; Tenure.leave; Fenced */

/* gate.fork_gated, and the child's _first_acts. `c` is the child. */
inline fork_child() {
  c = 0;
  do
  :: c < N && pc[c] != DEAD -> c++
  :: else -> break
  od;
  must(pool_suffices, c < N);
  pc[c] = GATED; par[c] = me; role[c] = role[me]; gen[c] = gen[me];
#if LEAKS
  j = 0;
  do
  :: j < N -> if :: ends[j] & (1 << me) -> ends[j] = ends[j] | (1 << c) :: else fi; j++
  :: else -> break
  od;
  ends[c] = 1 << me;
#endif
}

#if LEAKS
inline close_end(p) { if :: lives(p) -> ends[p] = ends[p] & ~(1 << me) :: else fi }
inline close_all_ends() {         /* close-on-exec */
  j = 0;
  do :: j < N -> ends[j] = ends[j] & ~(1 << me); j++ :: else -> break od
}
#else
inline close_end(p) { skip }
inline close_all_ends() { skip }
#endif

inline let_through(p, what) {     /* Child.let_through */
  if :: p < N && pc[p] == GATED -> order[p] = what; late[p] = !wish_run :: else fi;
  close_end(p)
}

/* ------------------------------------------------------------------ a gated child */

inline pass_gate() {              /* reserve.live, with an order */
  par[me] = NOBODY;
  if
  :: order[me] == LEAVE -> leave(me)
  :: order[me] == GO_WORKER -> pc[me] = LOOKS
  :: order[me] == GO_ROLE -> pc[me] = SEATS; role[me] = tgt[me]; gen[me] = slot_gen[tgt[me]]
  fi
}

inline leave_gate() {             /* os._exit(LEFT_AT_GATE), with nobody who has died */
  must(P3_nobody_leaves_in_vain, kills > 0 || stops > 0 || freezes > 0 || EXECS > 0 || !wish_run);
  leave(me)
}

inline look_again() {             /* reserve._become_worker, _is_wanted: R14 */
  if
  :: NO_REREAD || (wish_run && slot_pid[tgt[me]] == me) -> pc[me] = EXECUTES
  :: else -> leave_gate()
  fi
}

inline execute() {                /* launch.execute */
  pc[me] = WORKS; order[me] = CLOSED; role[me] = 0; gen[me] = 0; par[me] = NOBODY;
  close_all_ends();
  must(P2_runs_only_what_is_recorded, slot_pid[tgt[me]] == me);
  i = 0;
  do
  :: i < N -> must(P1_one_process_of_a_worker, !(i != me && pc[i] == WORKS && tgt[i] == tgt[me])); i++
  :: else -> break
  od;
  must(P8_nothing_starts_after_down, !acked);
  must(P8_no_program_starts_late, !late[me] || ACK_ONLY);
  late[me] = 0
}

inline lose_parent() {            /* reserve.live: its wait has ended without an order */
  order[me] = CLOSED; tgt[me] = 0; late[me] = 0;
  if
  :: role[me] == X -> leave(me)   /* the anchor's role is its init's to give */
  :: BLIND_TAKEOVER -> pc[me] = TAKES_RECORD
  :: else -> pc[me] = NAMES
  fi
}

#define is_named (slot_pid[A] == me || slot_pid[B] == me || slot_pid[W] == me || slot_pid[X-1] == me)

inline look_for_own_name() {      /* reserve._take_over, state.naming: R02 */
  if
  :: SEAT_IF_NAMED && !NO_NAMES && (slot_pid[A] == me || slot_pid[B] == me) ->
     role[me] = (slot_pid[A] == me -> A : B); gen[me] = slot_gen[role[me]]; par[me] = NOBODY; pc[me] = SEATS
  :: !(SEAT_IF_NAMED && (slot_pid[A] == me || slot_pid[B] == me)) && is_named && !NO_NAMES -> leave(me)
  :: else -> pc[me] = TAKES
  fi
}

inline compare_as_heir() {        /* reserve._claim_role, fence.objection: R04 */
  lk = me;
  if
  :: slot_gen[role[me]] == gen[me] && (wish_run || NO_DESIRED) -> pc[me] = TAKES_RECORD
  :: else -> leave(me)
  fi
}

inline record_itself() {
  slot_gen[role[me]]++; gen[me] = slot_gen[role[me]]; slot_pid[role[me]] = me;
  par[me] = NOBODY; pc[me] = TAKES_UNLOCK;
  j = 0; i = 0;
  do
  :: j < SLOTS -> if :: slot_pid[j] == me -> i++ :: else fi; j++
  :: else -> break
  od;
  must(P1_one_slot_a_process, i == 1)
}

inline unlock(next) {
  if :: lk == me -> lk = NOBODY :: else fi;
  pc[me] = next
}

inline take_seat() {              /* Watcher.run, Tenure.take */
  order[me] = CLOSED; tgt[me] = 0; late[me] = 0; par[me] = NOBODY;
  if
  :: NO_SEAT || (slot_pid[role[me]] == me && slot_gen[role[me]] == gen[me]) ->
     pc[me] = WATCHES;
     must(P2_runs_only_what_is_recorded, slot_pid[role[me]] == me);
     must(P8_nothing_starts_after_down, !acked);
     i = 0;
     do
     :: i < N ->
        must(P1_one_holder_of_a_role, ONE_ACTS || !(i != me && is_watcher(i) && role[i] == role[me]));
        i++
     :: else -> break
     od
  :: else -> leave_gate()
  fi
}

/* ------------------------------------------------------------------ a watcher, and the anchor */

inline take_child() {             /* Nursery.take: `c`, a reserve or one forked now */
  if
  :: kids[me] != 0 ->
     c = 0;
     do :: (kids[me] & (1 << c)) == 0 -> c++ :: else -> break od;
     kids[me] = kids[me] & ~(1 << c)
  :: else -> fork_child()
  fi
}

inline plan(t) {                  /* Twin.work, Guard.work: its process is seen dead */
  tgt[me] = t; seen[me] = slot_gen[t];
  take_child();
  kid[me] = c; tgt[c] = t;
#if NO_GATE
  if :: t >= W -> pc[c] = EXECUTES :: else fi;
#endif
  pc[me] = (OPEN_FIRST -> OPENS : CLAIMS)
}

inline rest() {                   /* back to Watcher._round, Third._act */
  if
  :: role[me] == X -> pc[me] = GUARDS
  :: else -> pc[me] = WATCHES
  fi;
  tgt[me] = 0; seen[me] = 0; kid[me] = NOBODY
}

inline give_back() {              /* Nursery.give_back */
  if :: kid[me] < N -> kids[me] = kids[me] | (1 << kid[me]); tgt[kid[me]] = 0 :: else fi
}

/* birth.respawn, fence.objection: R04, R08 */
inline compare() {
  lk = me;
  if
  :: (slot_gen[tgt[me]] == seen[me] || NO_COMPARE) && (slot_gen[role[me]] == gen[me] || NO_OWN) &&
     (wish_run || NO_DESIRED) -> pc[me] = RECORDS
  :: else -> lk = NOBODY; give_back(); rest()
  fi
}

inline record() {                 /* state.write: the child may be dead already */
  must(P1_no_fenced_one_acts, slot_gen[role[me]] == gen[me]);
  slot_gen[tgt[me]]++; slot_pid[tgt[me]] = kid[me]; pc[me] = UNLOCKS
}

inline open_gate() {
  if
  :: kid[me] < N -> let_through(kid[me], (tgt[me] >= W -> GO_WORKER : GO_ROLE))
  :: else
  fi;
  if :: OPEN_FIRST -> pc[me] = CLAIMS :: else -> rest() fi
}

inline retire() {                 /* Nursery.retire */
  i = 0;
  do
  :: i < N -> if :: (kids[me] & (1 << i)) != 0 -> let_through(i, LEAVE) :: else fi; i++
  :: else -> break
  od;
  skip
}

#define is_ready_kid(p) ((kids[me] & (1 << p)) != 0 && order[p] == CLOSED)
#define is_kid(p) ((kids[me] >> p) & 1)
#if N > 8
#define any(f) (f(0) || f(1) || f(2) || f(3) || f(4) || f(5) || f(6) || f(7) \
    || f(8) || f(9) || f(10) || f(11))
#define more_kids + is_kid(8) + is_kid(9) + is_kid(10) + is_kid(11)
#else
#define any(f) (f(0) || f(1) || f(2) || f(3) || f(4) || f(5) || f(6) || f(7))
#define more_kids
#endif
#define kid_count (is_kid(0) + is_kid(1) + is_kid(2) + is_kid(3) + is_kid(4) + is_kid(5) + is_kid(6) \
    + is_kid(7) more_kids)
#define reserve_of(r) (r == A -> RES_A : RES_B)
#define twin_pid slot_pid[1 - role[me]]
#define no_worker_lives (slot_pid[W] == NOBODY && slot_pid[X-1] == NOBODY)

#define is_stoppable (lives(me) && pc[me] != WORKS && pc[me] != DYING && stp[me] == MOVES)

/* ------------------------------------------------------------------ every process */

active [N] proctype Process() {
end:
  do
  /* a gated child: Gate.wait sees its gate, then its parent's pidfd; an order may come in between */
  :: d_step { at(GATED) && order[me] != CLOSED -> pass_gate() }                            /* reserve._wait */
  :: d_step { at(GATED) && is_parent_dead(me) && !(ORDER_FIRST && order[me] != CLOSED) -> lose_parent() }
#if EXECS && !EOF_IS_DEATH        /* R10: reserve._is_order */
  :: d_step { at(GATED) && order[me] == CLOSED && is_ended(me) && par[me] != NOBODY -> leave_gate() }
#endif
#if STOPS || FREEZES              /* R13: reserve._Vigil */
  :: d_step { at(GATED) && order[me] == CLOSED && par[me] != NOBODY && stp[par[me]] != MOVES &&
       !doomed[par[me]] && !beats(slot_pid[A]) && !beats(slot_pid[B]) && !NO_VIGIL ->
       if :: role[me] == X -> leave(me) :: else -> send_kill(par[me]) fi }
#endif
  :: d_step { at(LOOKS) -> look_again() }
  :: d_step { at(EXECUTES) -> execute() }
  :: d_step { at(NAMES) -> look_for_own_name() }
  :: d_step { at(TAKES) && is_free_lock -> compare_as_heir() }
  :: d_step { at(TAKES_RECORD) -> record_itself() }
  :: d_step { at(TAKES_UNLOCK) -> unlock(SEATS) }
  :: d_step { at(SEATS) -> take_seat() }

  /* a watcher */
  :: d_step { at(WATCHES) && slot_gen[role[me]] != gen[me] && !NO_OWN -> leave(me) }       /* R08 */
  :: d_step { at(WATCHES) && wish_run && kid_count < reserve_of(role[me]) ->
       fork_child(); kids[me] = kids[me] | (1 << c) }                                      /* refill */
  :: d_step { at(WATCHES) && wish_run && is_dead(1 - role[me]) -> plan(1 - role[me]) }
  :: d_step { at(WATCHES) && wish_run && slot_pid[W] == NOBODY -> plan(W) }
#if WORKERS > 1
  :: d_step { at(WATCHES) && wish_run && slot_pid[W+1] == NOBODY -> plan(W+1) }
#endif
#if STOPS || FREEZES || KILLS
  :: d_step { at(WATCHES) && is_hung(twin_pid) && !NO_EVICT -> send_kill(twin_pid) }       /* Twin.judge */
  :: d_step { at(WATCHES) && is_starting(slot_pid[W]) && is_hung(slot_pid[W]) && !NO_EVICT ->
       send_kill(slot_pid[W]) }                                                            /* R07 */
#if WORKERS > 1
  :: d_step { at(WATCHES) && is_starting(slot_pid[W+1]) && is_hung(slot_pid[W+1]) && !NO_EVICT ->
       send_kill(slot_pid[W+1]) }
#endif
#endif
#if EXECS                         /* not in the code: a fault that R10 is about */
  :: d_step { at(WATCHES) && execs < EXECS && kids[me] != 0 ->
       execs++;
       i = 0;
       do :: i < N -> if :: (kids[me] & (1 << i)) != 0 -> ended[i] = 1 :: else fi; i++ :: else -> break od;
       kids[me] = 0 }
#endif
#if DOWN                          /* Guard.work, Watcher._is_done, leave */
  :: d_step { at(WATCHES) && !wish_run && is_endable(slot_pid[W]) -> send_kill(slot_pid[W]) }
#if WORKERS > 1
  :: d_step { at(WATCHES) && !wish_run && is_endable(slot_pid[W+1]) -> send_kill(slot_pid[W+1]) }
#endif
  :: d_step { at(WATCHES) && !wish_run && no_worker_lives && any(is_ready_kid) -> retire() }
  :: d_step { at(WATCHES) && !wish_run && no_worker_lives && kids[me] == 0 -> leave(me) }
#endif

  /* a birth: a watcher's or the anchor's */
  :: d_step { at(CLAIMS) && is_free_lock -> compare() }
  :: d_step { at(RECORDS) -> record() }
  :: d_step { at(UNLOCKS) -> lk = NOBODY; if :: OPEN_FIRST -> rest() :: else -> pc[me] = OPENS fi }
  :: d_step { at(OPENS) -> open_gate() }

#if ANCHOR                        /* Third._claim, Third._act */
  :: d_step { at(BOOTS) && is_free_lock -> lk = me;
       if :: wish_run -> pc[me] = BOOTS_RECORD :: else -> lk = NOBODY; pc[me] = GUARDS fi }
  :: d_step { at(BOOTS_RECORD) -> slot_gen[X]++; gen[me] = slot_gen[X]; slot_pid[X] = me;
       pc[me] = BOOTS_UNLOCK }
  :: d_step { at(BOOTS_UNLOCK) -> unlock(GUARDS) }
  :: d_step { at(GUARDS) && wish_run && is_dead(A) -> plan(A) }       /* after its grace, or at once */
  :: d_step { at(GUARDS) && wish_run && !is_dead(A) && is_dead(B) -> plan(B) }
#if STOPS || FREEZES || KILLS
  :: d_step { at(GUARDS) && wish_run && is_hung(slot_pid[A]) && !beats(slot_pid[B]) -> send_kill(slot_pid[A]) }
  :: d_step { at(GUARDS) && wish_run && is_hung(slot_pid[B]) && !beats(slot_pid[A]) -> send_kill(slot_pid[B]) }
#endif
#endif

#if STOPS || FREEZES              /* R06: who waits for the lock ends a holder that stands still */
  :: d_step { (at(TAKES) || at(CLAIMS) || at(BOOTS)) && is_stuck_lock -> send_kill(lk) }
#endif

#if SLOW_DEATH
  :: d_step { pc[me] == DYING -> vanish(me) }
#endif

  /* what is done to it */
#if KILLS
  :: d_step { lives(me) && pc[me] != DYING && kills < KILLS && !acked -> kills++; send_kill(me) }
#endif
#if STOPS
  :: d_step { is_stoppable && stops < STOPS && !acked -> stops++; stp[me] = FOREVER }
  :: d_step { is_stoppable && stops < STOPS && !acked -> stops++; stp[me] = AWHILE }
  :: d_step { stp[me] == AWHILE -> stp[me] = MOVES }
#endif
#if FREEZES
  :: d_step { is_stoppable && freezes < FREEZES && !acked -> freezes++; stp[me] = FROZEN }
  :: d_step { stp[me] == FROZEN -> stp[me] = MOVES }
  :: d_step { doomed[me] && stp[me] == MOVES -> die(me) }
#endif
  od
}

#undef me
#define me DOWNER

/* ------------------------------------------------------------------ down */
#if DOWN
#define watcher_acts (is_watcher(slot_pid[A]) && stp[slot_pid[A]] == MOVES \
    || is_watcher(slot_pid[B]) && stp[slot_pid[B]] == MOVES)

#define is_dying(p) (pc[p] == DYING)
/* The anchor, and a child of it that no slot names: `down` does not look for them. */
#define is_of_anchor(p) (role[p] == X && slot_pid[A] != p && slot_pid[B] != p)

/* `_end_watchers`: after a while, whoever is still there is ended. `c` is one, N if there is none. */
inline find_guard() {
  c = 0;
  do
  :: c < N && (pc[c] == DEAD || pc[c] == WORKS || pc[c] == DYING || is_of_anchor(c)) -> c++
  :: else -> break
  od
}

inline acknowledge() {
  acked = 1; pc[me] = DEAD;
  i = 0;
  do
  :: i < N -> must(P8_nothing_lives_after_down, pc[i] == DEAD || is_of_anchor(i)); i++
  :: else -> break
  od
}

active proctype Command() {       /* control.down.down */
end:
  do
  :: d_step { at(CLAIMS) && is_free_lock -> lk = me; pc[me] = WRITES }   /* access.change_header */
#if STOPS || FREEZES
  :: d_step { at(CLAIMS) && is_stuck_lock -> send_kill(lk) }
#endif
  :: d_step { at(WRITES) -> wish_run = 0; pc[me] = UNLOCKS }
  :: d_step { at(UNLOCKS) -> if :: lk == me -> lk = NOBODY :: else fi; pc[me] = ENDS_WORKERS }
  :: d_step { at(ENDS_WORKERS) && is_endable(slot_pid[W]) && !watcher_acts -> send_kill(slot_pid[W]) }
  :: d_step { at(ENDS_WORKERS) && is_endable(slot_pid[X-1]) && !watcher_acts -> send_kill(slot_pid[X-1]) }
  :: d_step { at(ENDS_WORKERS) && no_worker_lives -> pc[me] = ENDS_WATCHERS }
  :: d_step { at(ENDS_WATCHERS) && !any(is_dying) -> find_guard();
       if :: c < N -> send_kill(c) :: else -> acknowledge() fi }
#if KILLS
  :: d_step { lives(me) && kills < KILLS -> kills++; lk = (lk == me -> NOBODY : lk); pc[me] = DEAD;
       stp[me] = MOVES }
#endif
#if STOPS
  :: d_step { lives(me) && stp[me] == MOVES && stops < STOPS -> stops++; stp[me] = FOREVER }
  :: d_step { lives(me) && stp[me] == MOVES && stops < STOPS -> stops++; stp[me] = AWHILE }
  :: d_step { stp[me] == AWHILE -> stp[me] = MOVES }
#endif
  od
}
#endif

/* ------------------------------------------------------------------ init, and what starts it all */
#if ANCHOR
active proctype Init() {          /* respawns the anchor */
end:
  do
  :: d_step { !any(is_anchor) && slot_gen[A] > 0 ->
       c = 0;
       do :: c < N && pc[c] != DEAD -> c++ :: else -> break od;
       must(pool_suffices, c < N);
       pc[c] = BOOTS; role[c] = X }
  od
}
#endif

/* ------------------------------------------------------------------ when nothing moves any more */

#define holds(t, p) (is_watcher(p) && role[p] == t && stp[p] == MOVES)
#define is_whole (holds(A, slot_pid[A]) && holds(B, slot_pid[B]) && pc[slot_pid[W]] == WORKS \
    && pc[slot_pid[X-1]] == WORKS)
/* Somebody who can act: a watcher, a reserve, the anchor. */
#define is_guard(p) (lives(p) && pc[p] != WORKS && stp[p] == MOVES && !(role[p] == X && !is_anchor(p)))
#define waits_for_lock(p) ((pc[p] == TAKES || pc[p] == CLAIMS || pc[p] == BOOTS) && stp[p] == MOVES)

bit guarded, halted, remains;

active proctype Quiet() {
  timeout;
  d_step {
    i = 0;
    do
    :: i < N ->
       must(P7_nobody_waits_for_a_lost_lock, !waits_for_lock(i));
       must(P7_no_child_waits_for_nobody, !(pc[i] == GATED && stp[i] == MOVES && par[i] == NOBODY));
       must(P1_no_fenced_one_acts, !(is_watcher(i) && stp[i] == MOVES && slot_pid[role[i]] != i));
       if :: is_guard(i) -> guarded = 1 :: else fi;
       if :: is_guard(i) && role[i] != X -> remains = 1 :: else fi;
       if :: stp[i] != MOVES -> halted = 1 :: else fi;
       i++
    :: else -> break
    od;
    must(P7_down_returns, !lives(DOWNER) || stp[DOWNER] != MOVES);
    must(P3_somebody_is_left, !SURVIVES || guarded);
    must(P3_the_pair_is_whole_again, !wish_run || !guarded || is_whole);
    must(P8_a_pair_told_to_be_down_leaves, wish_run || (halted && !STRICT_DOWN) || !remains)
  }
}

init {
  d_step {
    i = 0;
    do :: i < N+2 -> par[i] = NOBODY; kid[i] = NOBODY; i++ :: else -> break od;
    i = 0;
    do :: i < SLOTS -> slot_pid[i] = NOBODY; i++ :: else -> break od;
    i = 0;
    do
    :: i < 2 -> pc[i] = WATCHES; role[i] = i; gen[i] = 1; slot_gen[i] = 1; slot_pid[i] = i; i++
    :: else -> break
    od;
#if RUNNING
    do
    :: i < X -> pc[i] = WORKS; tgt[i] = i; slot_gen[i] = 1; slot_pid[i] = i; i++
    :: i >= X && i < X + RES_A + RES_B ->
       pc[i] = GATED; par[i] = (i < X + RES_A -> A : B); role[i] = par[i]; gen[i] = 1;
       kids[par[i]] = kids[par[i]] | (1 << i); i++
    :: else -> break
    od;
#endif
#if DOWN
    pc[DOWNER] = CLAIMS;
#endif
    i = 0
  }
}

#ifdef LTL
#define is_well (is_whole || !any(is_guard))
ltl recovery { <>[] (is_well) }
#endif
