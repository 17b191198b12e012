def test_bare_address_leads_to_the_admin(client, db):
    response = client.get("/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")
