"""Bad inputs, what becomes of each, and the tests that show it.

``python -m tests.hostile.rows`` prints the page ``docs/hostile-input.md``.
"""

U, C, F, H, D = "tests/unit", "tests/contract", "tests/faults", "tests/hostile", "tests/dagster"
LIARS, SHARD, URI = f"{F}/test_liars.py", f"{U}/test_shard.py", f"{U}/test_uri.py"
PROOF, INDEXES, SECRETS = f"{U}/test_proof.py", f"{C}/test_indexes.py", f"{H}/test_secrets.py"
DOOR, HANDLES, HOSTS = f"{H}/test_door.py", f"{H}/test_handles.py", f"{H}/test_hosts.py"
RECORDS, SERVICES = f"{H}/test_records.py", f"{F}/test_services.py"
MANIFESTS, INPUT = f"{C}/test_manifests.py", f"{F}/test_input.py"
FOLLOWING, STREAM = "tests/inbound/test_following.py", f"{H}/test_stream.py"
PUBLISHER, PATIENCE = f"{H}/test_publisher.py", "tests/inbound/test_patience.py"
CATALOGUE, LISTING = "tests/inbound/test_catalogue.py", "tests/inbound/test_listing.py"

ROWS = {
    "Addresses and names": [
        (
            "an AT URI that lacks a part, has one too many, or a port, user, query, fragment, space, "
            "line end, or 9 KB",
            "refused, nobody is asked",
            [f"{URI}::test_what_addresses_no_record_is_refused"],
        ),
        (
            "`at://did/blob/cid` where a record is expected, and the other way round",
            "refused: a blob, not a record",
            [
                f"{URI}::test_a_blob_s_address_is_told_from_a_record_s",
                f"{URI}::test_what_locates_no_blob_is_refused",
            ],
        ),
        (
            "record keys `.`, `..`, `a/b`, `x@1.0.0`, of 513 characters; NSIDs of two parts, with "
            "hyphens, not ASCII, of 318 characters; handles with emoji",
            "refused, nobody is asked",
            [
                f"{URI}::test_identifiers_follow_the_rules_of_their_kind",
                f"{C}/test_records.py::test_impossible_addresses_are_refused_before_anything_is_sent",
            ],
        ),
        (
            "a handle that the account doesn't claim",
            "refused; reading by DID goes on",
            [f"{LIARS}::test_a_handle_that_the_account_doesn_t_claim_is_refused"],
        ),
        (
            "a handle that looks like a known one in other letters",
            "shown in ASCII, as it is sent, and with its DID; in Unicode it is refused",
            [f"{LIARS}::test_a_look_alike_handle_is_shown_as_it_is_sent_and_with_its_did"],
        ),
        (
            "a DID of a method that nobody can ask, in a record",
            "kept as text; refused where it would have to be asked",
            [f"{LIARS}::test_a_did_of_another_method_stays_text_until_somebody_has_to_be_asked"],
        ),
        (
            "TXT records that name two accounts",
            "refused as ambiguous",
            [f"{HANDLES}::test_several_accounts_in_txt_records_are_none"],
        ),
        (
            "a TXT record and the handle's host that differ",
            "DNS counts",
            [f"{HANDLES}::test_dns_comes_before_the_host"],
        ),
        (
            "a handle's host that answers a page, 5 MB, or redirects on and on",
            "leads to nobody, after 2 KB and three redirects",
            [
                f"{HANDLES}::test_a_host_that_answers_something_else_leads_nowhere",
                f"{HANDLES}::test_a_host_that_redirects_in_a_circle_is_left",
            ],
        ),
        (
            "`.local`, `.onion`, `.internal`, `.example` and the like",
            "refused without a look-up",
            [f"{HANDLES}::test_handles_that_can_lead_nowhere_are_not_looked_up"],
        ),
        (
            "DIDs with a path, a user, a query, of another method or length, in capitals",
            "refused, nobody is asked",
            [f"{URI}::test_dids_that_nobody_can_resolve_are_refused_before_any_request"],
        ),
    ],
    "Identities and hosts": [
        (
            "`did:web` of this machine, of a private network, of a cloud's metadata service",
            "refused, unless the user's own settings point there",
            [
                f"{LIARS}::test_this_machine_is_not_asked_unless_a_setting_points_to_it",
                f"{LIARS}::test_a_server_within_a_network_is_asked_if_a_setting_points_to_it",
            ],
        ),
        (
            "a directory that says 404 or 410",
            "no such account (any more)",
            [
                f"{LIARS}::test_a_directory_that_doesn_t_know_or_fails",
                f"{HOSTS}::test_a_directory_that_knows_of_no_account_any_more_is_believed",
            ],
        ),
        (
            "a directory that is busy or out of order",
            "what it said within a day is taken, with a warning",
            [f"{F}/test_proofs.py::test_a_directory_that_is_down_is_done_without_for_a_day"],
        ),
        (
            "a DID document of another DID, or none",
            "refused",
            [
                f"{LIARS}::test_a_did_document_that_is_another_s_or_empty_is_refused",
                f"{LIARS}::test_a_did_document_that_is_no_document_is_refused",
                f"{HOSTS}::test_a_directory_that_answers_another_s_document_is_not_believed",
            ],
        ),
        (
            "a DID document without a key, with another's, or of an unknown kind",
            "nothing can be proven, and it says so",
            [
                f"{PROOF}::test_documents_that_name_no_key_to_use",
                f"{PROOF}::test_documents_without_keys",
            ],
        ),
        (
            "a PDS at `http://`, with a user, at another port, at a private address",
            "refused",
            [
                f"{LIARS}::test_a_pds_at_an_address_that_may_not_be_asked_is_refused",
                f"{DOOR}::test_only_https_on_its_own_port_of_public_hosts",
            ],
        ),
        (
            "a public name that leads to a private address, to several, or changes its mind; "
            "IPv4 in IPv6, NAT64, 6to4, `2130706433`, `0x7f.1`",
            "refused; the address that was checked is the one that is dialled",
            [
                f"{DOOR}::test_a_public_name_that_leads_inside_is_not_dialled",
                f"{DOOR}::test_the_address_that_was_checked_is_the_one_that_is_dialled",
                f"{DOOR}::test_numbers_in_other_clothes_are_looked_through",
            ],
        ),
        (
            "a redirect to another host or to a private address",
            "not followed; a handle's is, if it may be asked",
            [
                f"{LIARS}::test_a_redirect_is_not_followed",
                f"{HANDLES}::test_a_redirect_to_where_nobody_may_be_asked_is_refused",
            ],
        ),
        (
            "an account that has moved",
            "its DID is resolved again, and the new host is asked",
            [f"{HOSTS}::test_an_account_that_has_moved_is_asked_at_its_new_host"],
        ),
        (
            "a server that drips, in headers or body",
            "left after 20 seconds of waiting below 4 KB/s",
            [f"{DOOR}::test_a_server_that_drips_is_left"],
        ),
        (
            "headers or an answer without end",
            "cut",
            [
                f"{DOOR}::test_headers_without_end_are_cut",
                f"{LIARS}::test_an_answer_without_end_is_cut",
            ],
        ),
        (
            "a body that is compressed though that was not asked for",
            "refused",
            [
                f"{DOOR}::test_a_body_that_is_compressed_unasked_is_refused",
                f"{LIARS}::test_a_blob_that_is_compressed_on_the_way_is_refused",
            ],
        ),
    ],
    "Sessions and secrets": [
        (
            "reading somebody's records while logged in",
            "the request carries no token",
            [f"{LIARS}::test_what_anybody_may_read_is_read_without_the_session"],
        ),
        (
            "a login whose answer names an odd host, or redirects",
            "refused; no token goes there",
            [
                f"{LIARS}::test_a_login_whose_document_names_an_odd_host_is_refused",
                f"{LIARS}::test_a_login_is_not_redirected",
            ],
        ),
        (
            "the account's main password",
            "pointed out, never shown",
            [f"{SECRETS}::test_a_main_password_is_pointed_out_and_never_shown"],
        ),
        (
            "a session's text that was cut short, has ended, or names another account",
            "refused, before anything is written; no other host gets it",
            [
                f"{SERVICES}::test_a_session_s_text_that_was_cut_short",
                f"{SERVICES}::test_a_session_that_has_ended_is_no_session",
                f"{SERVICES}::test_a_session_s_text_that_names_another_account_writes_nothing",
            ],
        ),
        (
            "a session that expires in mid-upload",
            "renewed once, and the blob sent again",
            [f"{SECRETS}::test_a_session_that_expires_in_mid_upload_is_renewed_once"],
        ),
        (
            "a server that asks to wait",
            "told until when; what is done stays done",
            [f"{LIARS}::test_a_server_that_asks_to_wait_tells_until_when"],
        ),
        (
            "a stranger's record that names objects in S3, while the reader has keys",
            "asked for unsigned, unless the reader gives a store",
            [
                f"{SECRETS}::test_a_stranger_s_record_is_read_without_the_reader_s_keys",
                f"{SECRETS}::test_the_reader_s_keys_are_used_where_he_says_so",
            ],
        ),
    ],
    "Publishing": [
        (
            "a shard larger than the PDS takes",
            "refused before any upload, with limit and remedy",
            [f"{SERVICES}::test_a_shard_larger_than_the_pds_takes_is_refused_before_any_upload"],
        ),
        (
            "more blobs than a day's uploads",
            "warned of first; goes on where it stopped",
            [
                f"{MANIFESTS}::test_more_than_a_thousand_blobs_are_sent_part_by_part_and_go_on_where"
                "_they_stopped"
            ],
        ),
        (
            "a PDS that is gone between blobs and record, or dropped the blobs",
            "no record; blobs are sent again, once",
            [
                f"{LIARS}::test_a_pds_that_is_gone_when_the_blobs_are_there_leaves_no_record",
                f"{LIARS}::test_blobs_that_were_dropped_before_their_record_are_sent_again",
            ],
        ),
        (
            "two publishers at once",
            "one record",
            [
                f"{INDEXES}::test_publishers_at_once_end_with_one_record",
                f"{C}/test_records.py::test_two_writers_of_one_record_don_t_overwrite_each_other",
            ],
        ),
        (
            "a PDS that received other bytes",
            "noticed, nothing is published",
            [
                f"{LIARS}::test_a_pds_that_answers_another_cid_for_a_blob_is_noticed_and_nothing_is"
                "_published"
            ],
        ),
        (
            "a PDS that calls a blob something else",
            "the record says what the PDS says, or is refused where no shard is that",
            [
                f"{RECORDS}::test_the_media_type_that_the_pds_answers_stands_in_the_record",
                f"{RECORDS}::test_a_media_type_that_no_shard_has_is_refused",
            ],
        ),
        (
            "a record larger than a PDS takes",
            "the list of shards goes into a blob; what is too large without it is refused",
            [
                f"{MANIFESTS}::test_thousands_of_shards_elsewhere_are_listed_in_a_blob",
                f"{MANIFESTS}::test_a_record_that_is_too_large_without_its_shards_is_refused",
            ],
        ),
        (
            "metadata with floats, NaN, bytes, 2^60, `$` keys, great depth, lone surrogates",
            "refused before anything is sent",
            [
                f"{INDEXES}::test_metadata_that_not_every_index_can_hold_are_refused",
                f"{U}/test_records.py::test_values_that_no_record_can_hold_are_refused_by_name",
                f"{U}/test_lexicon.py::test_depth_is_limited",
            ],
        ),
        (
            "a name of 101 `é`",
            "counted in bytes and in characters as people see them",
            [
                f"{SERVICES}::test_words_too_long_for_a_record_are_refused_before_anything_is_sent",
                f"{U}/test_lexicon.py::test_characters_are_counted_as_readers_see_them",
            ],
        ),
        (
            "no licence",
            "published with a warning",
            [f"{RECORDS}::test_a_dataset_without_a_licence_is_published_with_a_warning"],
        ),
        (
            "a path of this machine, or an address that only one network reaches",
            "refused",
            [
                f"{INDEXES}::test_promotion_without_a_store_refuses_paths_of_this_machine",
                f"{INPUT}::test_an_address_of_no_use_to_others_is_refused_in_a_public_record",
            ],
        ),
    ],
    "Proofs": [
        (
            "a block altered, missing, cut, too many, in another order, twice",
            "refused; more, otherwise ordered, or twice is no matter",
            [
                f"{PROOF}::test_every_block_of_a_real_proof_is_needed_and_checked",
                f"{PROOF}::test_a_real_proof_cut_anywhere_is_no_proof",
                f"{PROOF}::test_blocks_in_another_order_or_twice_or_too_many_are_no_matter",
                f"{PROOF}::test_no_bit_of_a_real_proof_can_be_another",
            ],
        ),
        (
            "a proof of another record, DID, or key; a signature of high S, DER, or 63 bytes",
            "refused, each with its code",
            [
                f"{PROOF}::test_a_proof_of_something_else",
                f"{PROOF}::test_signatures_of_other_forms",
            ],
        ),
        (
            "a revision of the future, or older than one seen",
            "refused; the clock is named",
            [
                f"{PROOF}::test_commits_that_say_something_else",
                f"{PROOF}::test_a_clock_that_is_a_little_behind_is_no_matter",
                f"{U}/test_revisions.py::test_revisions_go_forward_only",
            ],
        ),
        (
            "a tree out of order, at other heights, written longer than need be, too deep",
            "refused within bounded work",
            [
                f"{PROOF}::test_a_root_that_breaks_a_rule",
                f"{PROOF}::test_a_key_that_is_written_longer_than_need_be",
                f"{PROOF}::test_keys_outside_of_those_above_them_are_refused",
                f"{PROOF}::test_keys_at_another_height_are_refused",
                f"{PROOF}::test_a_tree_that_goes_on_below_its_leaves_is_refused",
            ],
        ),
        (
            "a CAR that claims 2^63 bytes, or has very many blocks",
            "refused",
            [
                f"{PROOF}::test_what_is_no_car",
                f"{PROOF}::test_a_car_of_very_many_blocks_is_refused",
            ],
        ),
        (
            "dag-cbor with floats, keys out of order or twice, without length, 100,000 deep, of "
            "4e9 items, with bytes behind",
            "refused, in little memory",
            [
                f"{PROOF}::test_blocks_that_are_not_canonical",
                "tests/fuzz/test_fuzz.py::test_damaged_bytes_are_taken_or_refused_soon_and_in_little"
                "_memory",
            ],
        ),
    ],
    "Records": [
        (
            "a record whose content is not that of its CID, or another than was asked for",
            "refused",
            [
                f"{LIARS}::test_a_record_whose_content_is_not_that_of_its_cid_is_refused",
                f"{LIARS}::test_another_record_than_the_one_asked_for_is_refused",
            ],
        ),
        (
            "a record of another type, or that fails its lexicon",
            "left out of listings, an error where it is opened",
            [
                f"{LIARS}::test_a_listing_leaves_out_what_is_no_record_of_the_account",
                f"{LIARS}::test_a_record_that_describes_no_dataset_is_refused",
            ],
        ),
        (
            "a storage of a kind not known",
            "listed, not opened, and it says why",
            [f"{C}/test_names.py::test_a_storage_that_is_not_known_is_listed_but_not_opened"],
        ),
        (
            "the blob's form of old, `{cid, mimeType}`",
            "read, never written",
            [f"{U}/test_records.py::test_every_way_to_keep_shards_is_read"],
        ),
        (
            "a blob named by another kind of CID; checksums of other algorithms or lengths",
            "refused",
            [
                f"{U}/test_records.py::test_storage_that_lies_is_refused",
                f"{U}/test_cid.py::test_what_is_no_cid_is_refused",
                f"{U}/test_cid.py::test_a_structure_s_cid_names_no_bytes",
            ],
        ),
        (
            "a server that hides what is new by proving an older state",
            "refused: a newer revision was seen",
            [f"{F}/test_proofs.py::test_a_server_can_t_hide_what_is_new_by_going_back"],
        ),
        (
            "a schema's record that was changed after datasets used it",
            "opened if it describes the same type, else refused; never silently the new one",
            [
                f"{LIARS}::test_a_record_that_was_changed_after_it_was_linked_is_noticed",
                f"{LIARS}::test_a_schema_that_was_exchanged_under_a_dataset_without_a_strong_link"
                "_is_noticed",
            ],
        ),
        (
            "a schema with fields such as `__class__`, keywords, code, 10,000 fields, or itself",
            "refused; no code is made of it",
            [
                f"{U}/test_fieldtypes.py::test_a_hostile_description_is_refused",
                f"{U}/test_fieldtypes.py::test_a_module_s_text_holds_no_code_of_a_stranger",
                f"{U}/test_fieldtypes.py::test_deeply_nested_types_are_refused",
            ],
        ),
        (
            "a lens that points to code",
            "never imported, never run",
            [f"{C}/test_lenses.py::test_nothing_that_a_record_names_is_imported_or_run"],
        ),
        (
            "`file://`, `gopher://`, `pipe:`, `http://10.0.0.1`, braces for 10^9 addresses",
            "refused",
            [
                f"{LIARS}::test_shards_at_an_address_that_may_not_be_asked_are_refused",
                f"{U}/test_records.py::test_storage_that_lies_is_refused",
                f"{U}/test_sources.py::test_braces_without_bound_are_refused_at_once",
            ],
        ),
        (
            "words with terminal codes, text that runs backwards, or HTML",
            "kept, and shown as they are written",
            [
                f"{RECORDS}::test_words_that_paint_the_terminal_are_shown_as_they_are_written",
                f"{D}/test_preview.py::test_strangers_words_obey_nobody",
            ],
        ),
        (
            "a list that repeats its cursor, has empty pages, or never ends",
            "ended, with a warning",
            [
                f"{LIARS}::test_a_listing_that_never_ends_comes_to_an_end",
                f"{LISTING}::test_a_repeated_cursor_ends_the_list_with_a_warning",
                f"{LISTING}::test_empty_pages_with_cursors_end_the_list",
                f"{LISTING}::test_a_list_without_end_is_read_up_to_a_number_of_pages",
            ],
        ),
        (
            "records of other accounts in a list",
            "dropped and counted",
            [
                f"{LISTING}::test_records_of_others_and_lies_are_dropped_and_counted",
                f"{PUBLISHER}::test_records_of_others_in_its_list_are_nobodys",
            ],
        ),
        (
            "a stream that repeats itself, jumps, forgot what came before, or sends what can't be read",
            "the catalogue stays right: what is older is ignored, a gap is made good by a crawl",
            [
                f"{FOLLOWING}::test_a_stream_that_forgot_is_noticed_and_made_good",
                f"{FOLLOWING}::test_a_frame_that_cant_be_read_is_a_gap",
                f"{FOLLOWING}::test_an_event_is_a_hint_and_no_more",
                f"{CATALOGUE}::test_whatever_the_order_the_newest_stays",
                f"{STREAM}::test_what_is_told_twice_or_out_of_order_is_heard_once",
                f"{STREAM}::test_frames_that_cant_be_read_are_a_gap_and_the_others_are_read",
            ],
        ),
        (
            "a stream's refusals, unknown kinds, frames of 9 MB, commits that make no sense",
            "each as the protocol has it: begun anew, gone on with, passed over, or one error; a "
            "commit that makes no sense has its repository read anew",
            [
                f"{STREAM}::test_a_stream_that_begins_anew_is_a_gap_and_its_cursor_is_forgotten",
                f"{STREAM}::test_a_stream_that_forgot_says_so_and_goes_on",
                f"{STREAM}::test_a_reader_that_is_too_slow_goes_on_at_the_next_call",
                f"{STREAM}::test_another_refusal_is_an_error_with_its_message",
                f"{STREAM}::test_kinds_that_nobody_knows_and_other_accounts_are_passed_over",
                f"{STREAM}::test_a_frame_larger_than_the_protocol_allows_is_a_gap",
                f"{STREAM}::test_what_a_commit_says_of_nothing_is_nothing",
                f"{STREAM}::test_what_a_jetstream_says_of_nothing_is_nothing",
            ],
        ),
        (
            "a publisher that floods the others",
            "takes its quota, and no more",
            [
                f"{FOLLOWING}::test_one_publisher_cant_flood_the_others",
                f"{PUBLISHER}::test_a_list_without_end_keeps_nobody_waiting_and_the_quota_is_obeyed",
                f"{PUBLISHER}::test_the_sensor_goes_on_through_a_flood",
            ],
        ),
        (
            "10,000 events of one account in a stream, before those of others",
            "told as one: that it is to be read anew; the others' are found in the same call",
            [f"{PUBLISHER}::test_ten_thousand_events_in_a_stream_hide_nothing"],
        ),
        (
            "a record that breaks its lexicon: a name that is a number, no storage, another type",
            "not listed, and it is noted why; its account's others are",
            [f"{PUBLISHER}::test_a_record_that_is_not_what_its_type_says_is_refused_alone"],
        ),
        (
            "a host that doesn't answer; one that can't tell of one of its accounts",
            "asked later and later, by chance somewhat sooner or not; others don't wait for it",
            [
                f"{PATIENCE}::test_each_failure_doubles_the_wait_and_an_answer_ends_it",
                f"{PATIENCE}::test_one_account_that_fails_keeps_no_other_of_its_server_waiting",
                f"{PATIENCE}::test_hosts_are_asked_side_by_side_and_accounts_of_one_in_order",
            ],
        ),
        (
            "a record that makes many requests to one host",
            "four at a time, from this process",
            [f"{PATIENCE}::test_a_host_is_asked_by_four_at_once_at_the_most"],
        ),
        (
            "a delete of what was never seen; a page that is older than a delete",
            "nothing; the delete counts",
            [
                f"{CATALOGUE}::test_a_tombstone_wins_over_an_older_page",
                f"{CATALOGUE}::test_an_older_delete_doesnt_take_a_newer_record",
            ],
        ),
        (
            "an account that is taken down, deactivated, back, or deleted",
            "hidden, hidden, shown again, purged",
            [
                f"{CATALOGUE}::test_a_hidden_account_is_shown_again_as_it_was",
                f"{CATALOGUE}::test_a_deleted_account_is_purged",
            ],
        ),
    ],
    "Shards": [
        (
            "a blob that is shorter, longer, or of other bytes",
            "never handed out",
            [
                f"{LIARS}::test_blobs_of_other_bytes_are_never_handed_out",
                f"{LIARS}::test_a_blob_shorter_than_its_length_says",
                f"{SHARD}::test_bytes_that_are_not_those_of_their_cid_are_never_handed_out",
            ],
        ),
        (
            "a body without end; a length that lies; 206; a web page",
            "cut where it passes its size, or refused",
            [
                f"{SHARD}::test_a_stream_without_end_is_cut_where_it_passes_its_size",
                f"{LIARS}::test_a_server_s_refusal_of_a_blob_is_told",
            ],
        ),
        (
            "a blob that is not there, of an account that was taken down",
            "each its own error",
            [f"{LIARS}::test_a_server_s_refusal_of_a_blob_is_told"],
        ),
        (
            "sparse members, links, devices, unsafe or doubled names, vast sizes, bad checksums, "
            "gzip, zstd, zip, a page, nothing",
            "refused, in little memory",
            [f"{SHARD}::test_what_is_no_plain_shard_is_refused_without_taking_memory"],
        ),
        (
            "a shard cut anywhere, without its end, or with data behind it",
            "an error, never a shorter dataset",
            [
                f"{SHARD}::test_a_shard_cut_short_at_any_byte_is_an_error",
                f"{SHARD}::test_a_source_that_ends_early_gives_no_whole_dataset",
                f"{U}/test_dataset.py::test_a_damaged_shard_is_never_a_shorter_dataset",
            ],
        ),
        (
            "`.npy` of objects, pickles, 80 TB, negative lengths, other lengths than its header's",
            "refused before memory is taken",
            [
                f"{U}/test_fields.py::test_bytes_that_lie_about_an_array_are_refused_before_memory"
                "_is_taken"
            ],
        ),
        (
            "msgpack that is too deep, has ext types, keys twice, bytes behind, other fields or "
            "dtypes",
            "refused with shard, key and field",
            [
                f"{U}/test_sample.py::test_bytes_that_are_no_sample_of_the_type_are_refused",
                f"{SHARD}::test_a_body_that_is_no_sample_is_named_with_shard_and_key",
            ],
        ),
        (
            "a key that stands in two shards",
            "two samples; `get` gives the first",
            [f"{RECORDS}::test_a_key_that_stands_in_two_shards_is_two_samples"],
        ),
        (
            "a team's index or a folder whose entries are of other types, no JSON, 100,000 deep, "
            "say a CID with `../`, sizes below zero, or that they are published",
            "refused by entry and field; never taken for published",
            [
                f"{U}/test_entry.py::test_an_entry_whose_fields_are_of_another_kind_is_refused_by_"
                "its_place",
                f"{U}/test_entry.py::test_text_that_is_no_json_is_refused",
                f"{U}/test_entry.py::test_an_index_can_t_say_that_a_dataset_is_published",
                f"{C}/test_team.py::test_a_damaged_entry_among_many_is_told_by_its_name",
            ],
        ),
        (
            "a disk without room, a copy that breaks off, a process that is killed",
            "no entry, no half a file",
            [
                f"{INPUT}::test_a_disk_without_room_leaves_no_entry",
                f"{C}/test_stores.py::test_a_copy_that_breaks_off_leaves_nothing",
                f"{INPUT}::test_a_writer_that_is_killed_leaves_no_entry_and_the_next_one_cleans_up",
            ],
        ),
        (
            "other bytes under a CID's name in a store",
            "refused when they are read, replaced when they are written",
            [
                f"{INDEXES}::test_a_damaged_shard_is_refused_when_it_is_read_and_replaced_when_written",
                f"{C}/test_stores.py::test_a_shard_that_lies_there_damaged_is_replaced",
            ],
        ),
        (
            "a file that was hashed or read before, other bytes in its place, its time of change set back",
            "hashed and read anew: the time at which an inode was changed can't be set",
            [
                "tests/unit/test_sources.py::test_a_file_is_hashed_again_when_somebody_touched_it",
                "tests/unit/test_remembered.py::test_a_file_that_was_touched_is_read_anew",
            ],
        ),
        (
            "2,000 flipped bits in a proof, 2,000 in a shard; damage at random to all that is read",
            "none is taken; an error of ours, soon",
            ["tests/fuzz/test_fuzz.py::test_no_flipped_bit_is_accepted"],
        ),
    ],
}

HEAD = """# Hostile input

Whoever publishes a record decides every byte of it, and of what it points to. This page lists what was tried against
this library, what becomes of it, and the tests that try it, most of them against servers on this machine that lie on
purpose. It is made by `python -m tests.hostile.rows`; a test fails if it names a test that doesn't exist.

`make fuzz` tries the readers of CAR, tree, dag-cbor, tar, `.npy` and msgpack with bytes at random, guided by coverage.
"""


def page() -> str:
    """The page, in Markdown."""
    lines = [HEAD]
    number = 0
    for title, rows in ROWS.items():
        lines += [
            f"## {title}\n",
            "| # | input | what becomes of it | test |",
            "| --- | --- | --- | --- |",
        ]
        for what, outcome, tests in rows:
            number += 1
            named = ", ".join(f"`{test}`" for test in tests)
            lines.append(f"| {number} | {what} | {outcome} | {named} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
