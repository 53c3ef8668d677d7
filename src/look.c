/*
 * look.c
 *	  A look at all messages of a page, and what it tells the ready map.
 *
 * Whoever examines a page, a consumer, the worker or a view, does it through
 * these functions, so that the map hears of every look: what is ready, whose
 * end to wait for, which deadline comes next, and the counts.
 *
 * Locks: the caller holds the page's exclusive buffer lock from before
 * look_begin() until after look_end().
 */
#include "postgres.h"

#include "storage/bufmgr.h"
#include "utils/timestamp.h"

#include "layout.h"
#include "look.h"

/*
 * Starts a look.  slot may be NULL.
 */
void
look_begin(PageLook *look, Relation rel, MapSlot *slot, Buffer buffer)
{
	look->rel = rel;
	look->buffer = buffer;
	look->page = BufferGetPage(buffer);
	look->offset = InvalidOffsetNumber;
	look->clock = 0;
	look->keys = NULL;
	look->hash = 0;
	look->fair = look->noisy_known = false;
	look->max_offset = PageIsNew(look->page) ? InvalidOffsetNumber :
		PageGetMaxOffsetNumber(look->page);
	memset(&look->result, 0, sizeof(look->result));
	look->result.due = QUEUE_NO_DUE;
	look->result.id_least = PG_INT64_MAX;
	map_look_begin(&look->map, slot, BufferGetBlockNumber(buffer));
}

/*
 * Keeps the registry of keys up to date with the page, whose place is given.
 * Its results are in *keys after look_end().
 */
void
look_track(PageLook *look, KeyPage *keys, const KeyPlace *place)
{
	keys_page_begin(keys, place);
	look->keys = keys;
	look->fair = place->by_key && !place->ordered;
}

/*
 * Is the message that was returned last of a noisy tenant?  Of a fair queue.
 */
bool
look_is_noisy(PageLook *look)
{
	if (!look->noisy_known || look->tenant != look->hash)
	{
		look->noisy = keys_is_noisy(look->keys->place.qs, look->hash);
		look->noisy_known = true;
		look->tenant = look->hash;
	}
	return look->noisy;
}

/*
 * The lane of a message that is ready: of two for its priority, the lower one
 * is for noisy tenants, and for all where there are none.
 */
static int
ready_lane(PageLook *look, const MessageHead *head)
{
	int			lane = map_lane(head->priority);

	return look->fair && !look_is_noisy(look) ? lane + 1 : lane;
}

/* Adds who decides about an undecided message, once */
static void
add_decider(MapResult *result, MessageDecider *decider)
{
	for (int i = 0; i < result->ndeciders; i++)
		if (result->decider[i].xid == decider->xid &&
			result->decider[i].is_multi == decider->is_multi)
			return;
	if (result->ndeciders == lengthof(result->decider))
	{
		result->more_deciders = true;
		return;
	}
	result->decider[result->ndeciders].xid = decider->xid;
	result->decider[result->ndeciders].is_multi = decider->is_multi;
	result->ndeciders++;
}

/* The page holds a message with this id, live or not */
static void
add_id(MapResult *result, int64 id)
{
	result->id_least = Min(result->id_least, id);
	result->id_greatest = Max(result->id_greatest, id);
}

/*
 * The next live message of the page; false at its end.  The caller says with
 * look_count() in which state he leaves it, unless he deletes it.
 */
bool
look_next(PageLook *look, HeapTuple tup)
{
	MessageDecider decider;
	MessageStatus status;

	while (look->offset < look->max_offset)
	{
		look->offset++;
		if (!layout_item_is_message(look->page, look->offset))
			continue;
		status = page_message_status(look->page, look->offset, look->rel,
									 look->buffer, tup, &decider);
		add_id(&look->result, message_head(tup->t_data)->id);
		switch (status)
		{
			case MESSAGE_LIVE:
				look->expires_at = message_expires_at(tup->t_data);
				if (look->keys != NULL && look->keys->place.by_key)
					look->hash = keys_hash(tup->t_data, tup->t_len);
				return true;
			case MESSAGE_UNDECIDED:
				add_decider(&look->result, &decider);
				look->result.undecided_lane =
					Max(look->result.undecided_lane,
						map_lane(message_head(tup->t_data)->priority) +
						look->fair);
				if (look->keys != NULL)
					(void) keys_add(look->keys, look->offset,
									keys_hash(tup->t_data, tup->t_len),
									KEY_UNDECIDED);
				break;
			case MESSAGE_GONE:
				break;
		}
	}
	return false;
}

/*
 * Is an unleased message ready by the clock, though not by the caller's time?
 * It was sent since that was read.  Were it taken for delayed, the page would
 * not be ready until the worker comes.
 */
static bool
ready_meanwhile(PageLook *look, const MessageHead *head)
{
	if (head->lease != 0)
		return false;
	if (look->clock == 0)
		look->clock = GetCurrentTimestamp();
	look->result.now = Max(look->result.now, look->clock);
	return head->visible_at <= look->clock;
}

/*
 * A live message that look_next() returned before.
 */
void
look_tuple(PageLook *look, OffsetNumber offset, HeapTuple tup)
{
	ItemId		lp = PageGetItemId(look->page, offset);

	tup->t_data = (HeapTupleHeader) PageGetItem(look->page, lp);
	tup->t_len = ItemIdGetLength(lp);
	tup->t_tableOid = RelationGetRelid(look->rel);
	ItemPointerSet(&tup->t_self, BufferGetBlockNumber(look->buffer), offset);
	look->offset = offset;
	look->expires_at = message_expires_at(tup->t_data);
}

/*
 * In which state the message is that was returned last, as head has it.  One
 * whose time to live is over is as good as dead.
 */
KeyState
look_state(PageLook *look, const MessageHead *head, TimestampTz now)
{
	if (MESSAGE_IS_DEAD(head))
		return KEY_DEAD;
	if (head->lease != 0 && head->visible_at > now)
		return KEY_LEASED;
	if (look->expires_at <= now)
		return KEY_DEAD;
	if (head->visible_at <= now || ready_meanwhile(look, head))
		return KEY_READY;
	return KEY_DELAYED;
}

/*
 * Counts a live message, the one that look_next() returned last, in the state
 * given by head.  One whose time to live is over counts as dead, and as due
 * until somebody declares it so.
 */
void
look_count(PageLook *look, const MessageHead *head, Size length,
		   TimestampTz now)
{
	MapResult  *result = &look->result;
	KeyState	state = look_state(look, head, now);

	result->facts.bytes += length;
	result->now = Max(result->now, now);
	switch (state)
	{
		case KEY_DEAD:
			result->facts.dead++;
			if (MESSAGE_IS_DEAD(head))
				result->facts.droppable |= message_is_droppable(head);
			else
				result->due = Min(result->due, look->expires_at);
			break;
		case KEY_LEASED:
			result->facts.leased++;
			/* the worker ends it */
			result->due = Min(result->due,
							  message_is_orphan(head,
												queue_shmem->started_at) ?
							  now : head->visible_at);
			break;
		case KEY_READY:
			result->facts.ready++;
			result->keep_ready = true;
			result->lane = Max(result->lane, ready_lane(look, head));
			result->due = Min(result->due, look->expires_at);
			break;
		default:
			result->facts.delayed++;
			result->due = Min(result->due, head->visible_at);
			result->due = Min(result->due, look->expires_at);
			break;
	}
	if (look->keys != NULL && !look->keys->done)
		(void) keys_add(look->keys, look->offset, look->hash, state);
}

/*
 * Hands the result to the map.
 */
void
look_end(PageLook *look)
{
	KeyPage    *keys = look->keys;

	if (keys != NULL)
	{
		if (!keys->done)
			keys_look(keys, NULL, 0);
		if (keys->place.ordered)
		{
			look->result.keep_ready = keys->keep_ready;
			look->result.keys_known = true;
		}
	}
	map_looked(&look->map, &look->result);
}

/*
 * After look_end(): how many messages may be there whose time came on a page
 * that was ready before.  Nobody announces them who does not look, and the
 * worker does not look any more.
 */
int
look_became_ready(PageLook *look)
{
	return look->map.due_passed ? look->result.facts.ready : 0;
}
